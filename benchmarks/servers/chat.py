"""Chat messages as the hub's servers send them: JSON of 300 bytes, each different."""

import json
import random

SIZE = 300
WORDS = ["quick", "brown", "fox", "jumps", "over", "lazy", "dog", "seven", "wizards", "jugs", "of"]


def message(number: int) -> str:
    """The message with that number; the same number makes the same message."""
    source = random.Random(number)
    user, words = source.choice(["ada", "grace", "mo"]), " ".join(source.choices(WORDS, k=SIZE))
    fields = {"event": "CHAT_MSG", "number": number, "user": user, "message": ""}
    fields["message"] = words[: SIZE - len(json.dumps(fields))]
    return json.dumps(fields)
