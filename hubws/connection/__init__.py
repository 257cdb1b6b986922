"""One peer: its inbox, its outbox, its pings, its end."""
