"""Tests of the kit, which every service that has it runs as its own: in the build of its image, and outside of it."""
