"""A reverse proxy for WebSockets: `serve_proxy` passes clients on to the backends of its routes."""

from .backends import Backend, BackendStatistics, Balance
from .health import HealthCheck
from .inspecting import Inspection
from .profile import profile_on_signal
from .routes import Route
from .serve import Proxy, ProxyStatistics, serve_proxy

__all__ = [
    "Backend",
    "BackendStatistics",
    "Balance",
    "HealthCheck",
    "Inspection",
    "Proxy",
    "ProxyStatistics",
    "Route",
    "profile_on_signal",
    "serve_proxy",
]
