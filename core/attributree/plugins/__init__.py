"""Plugins: what they implement (`hookspecs`), and the host that finds, starts and asks them.

loaded = load_plugins(settings.plugins)
loaded.attributes["shape"]          # what is declared
loaded.problems                     # what is broken, and why
"""

from .calls import PluginInfo
from .host import LoadedPlugins, PluginSelection, load_plugins

__all__ = ["LoadedPlugins", "PluginInfo", "PluginSelection", "load_plugins"]
