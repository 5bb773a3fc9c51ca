"""What pyproject.toml cannot say: the data plane's extension, and the bare guests' images."""

import importlib.util
from pathlib import Path
from typing import ClassVar

from setuptools import Command, setup
from setuptools.command.build import build

ROOT = Path(__file__).resolve().parent
GUESTS = Path("ftd/vm/microvm/guests")


class BuildGuests(Command):
    """Compiles the bare guests: into the build tree or, for an editable install, beside their sources."""

    description = "compile the microvm's bare guests"
    user_options: ClassVar[list[tuple[str, str | None, str]]] = []

    def initialize_options(self) -> None:
        self.build_lib: str = ""
        self.editable_mode = False

    def finalize_options(self) -> None:
        self.set_undefined_options("build_py", ("build_lib", "build_lib"))

    def run(self) -> None:
        out_dir = (ROOT if self.editable_mode else Path(self.build_lib)) / GUESTS
        out_dir.mkdir(parents=True, exist_ok=True)
        # Loaded by path: importing the package would need its dependencies, which a build does not have.
        spec = importlib.util.spec_from_file_location("ftd_guests_build", ROOT / GUESTS / "build.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.build(out_dir)

    # What setuptools asks of a sub-command of build; the images are generated, so they map to no source file.
    def get_source_files(self) -> list[str]:
        return [str(path.relative_to(ROOT)) for path in sorted((ROOT / GUESTS).glob("*.[chS]"))]

    def get_outputs(self) -> list[str]:
        return []

    def get_output_mapping(self) -> dict[str, str]:
        return {}


class Build(build):
    """`build` with the guests as its last step."""

    sub_commands = [*build.sub_commands, ("build_guests", None)]  # noqa: RUF012


setup(
    cmdclass={"build": Build, "build_guests": BuildGuests},
    cffi_modules=["ftd/dataplane/build.py:ffibuilder"],
)
