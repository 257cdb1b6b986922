"""Pages that people look at: files without a build step, and the Python that serves and feeds them.

A chat (`Chat`), round-trip times (`RttPage`) and what a hub does (`Dashboard`); `serve_pages` serves
the last two beside an application's connections, or on a server of their own.
"""

from .chat import Chat, chat_message
from .dashboard import Dashboard
from .live import LivePage
from .rtt import RttPage
from .serve import serve_pages

__all__ = ["Chat", "Dashboard", "LivePage", "RttPage", "chat_message", "serve_pages"]
