"""Open GPT Lab in the browser: `python demo.py`."""

import sys

try:
    from gpt.ui.program import main
except ImportError as error:  # an older Python, which stops at the same place, or an installation that is not complete
    remedy = "; `pip install -r requirements.txt -c constraints.txt` installs what is missing"
    sys.exit("GPT Lab cannot start: {}{}".format(error, remedy if sys.version_info >= (3, 10) else ""))

if __name__ == "__main__":
    sys.exit(main())
