"""Who is who: keys, canonical bytes, the roster, signed documents, joining, signed requests, and which code this is."""
