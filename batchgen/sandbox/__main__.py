"""`python -m batchgen.sandbox`: the sandbox as a process of its own."""

import sys

if __name__ == "__main__":
    try:
        from batchgen.sandbox.serve import main
    except ModuleNotFoundError as error:
        sys.exit(f"batchgen: the sandbox needs the package {error.name}")
    sys.exit(main(sys.argv[1:]))
