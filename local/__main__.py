"""`python -m local demo` and `python -m local serve`."""

import sys

from local import demo, serve

_VERBS = {"demo": demo.main, "serve": serve.main}

if __name__ == "__main__":
    sys.exit(_VERBS[sys.argv[1]]())
