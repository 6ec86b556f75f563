"""Which build this is, and the constants of the module."""

from slim_bindings import _slim_bindings

__version__: str = _slim_bindings.version()
build_profile: str = _slim_bindings.build_profile()
build_info: str = f"slim_bindings {__version__} ({build_profile})"

#: "No session": the largest number that the wire can carry.
SESSION_UNSPECIFIED: int = 2**32 - 1


def get_version() -> str:
    """The version of this package."""
    return __version__


def get_build_profile() -> str:
    """``debug`` or ``release``."""
    return build_profile


def get_build_info() -> str:
    """Package, version and profile in one line."""
    return build_info
