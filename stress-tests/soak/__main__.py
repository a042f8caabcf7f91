"""``python stress-tests/soak``"""

import sys
from pathlib import Path

STRESS_TESTS = Path(__file__).resolve().parent.parent
# as a folder is run, it is the folder itself that stands here
sys.path[0] = str(STRESS_TESTS)
sys.path.insert(1, str(STRESS_TESTS.parent))

from soak.command import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
