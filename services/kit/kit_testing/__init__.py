"""Tests of the kit. Every service that has it runs them as its own, in the build of its image and outside of it."""
