"""The page: the only chapter that knows of gradio."""
