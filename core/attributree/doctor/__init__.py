"""The plugins' doctor: what is broken, what is about to be, and what to type. It changes nothing, loads no weights."""

from .checks import ERROR, NOTE, WARNING, Finding, Symptoms, diagnose
from .examine import examine
from .imports import ImportTrial

__all__ = ["ERROR", "NOTE", "WARNING", "Finding", "ImportTrial", "Symptoms", "diagnose", "examine"]
