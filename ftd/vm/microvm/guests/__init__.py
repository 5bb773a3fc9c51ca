"""Bare test guests: flat images that the microvm enters in long mode at CPL 3 (see ``boot.h``)."""

from ftd.vm.microvm.guests.build import GUESTS, image_path

__all__ = ["GUESTS", "image_path"]
