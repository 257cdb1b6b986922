"""Moving bytes on trio: plain sockets by a shared poller, everything else by a task."""
