"""AutobahnTestSuite's fuzzing client against an echo site: ``python -m tests.compliance``."""
