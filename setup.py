"""Which folders an installed package has: the library's, and the trained models below it. The rest: pyproject.toml."""

from setuptools import find_namespace_packages, setup

setup(
    packages=[*find_namespace_packages(include=["gpt", "gpt.*"]), "gpt.trained_models"],
    package_dir={"gpt.trained_models": "trained_models"},
)
