"""Open GPT Lab in the browser: `python demo.py`."""

import argparse

from gpt.ui.app import create_demo, launch


def main() -> None:
    """Read the options and show the page until it is stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--host", help="address to listen on; 0.0.0.0 lets other machines in (default: this machine)")
    parser.add_argument("--port", type=int, help="port to listen on (default: the first free one from 7860)")
    parser.add_argument("--share", action="store_true", help="also make a public link, through Gradio's servers")
    options = parser.parse_args()
    launch(create_demo(), server_name=options.host, server_port=options.port, share=options.share)


if __name__ == "__main__":
    main()
