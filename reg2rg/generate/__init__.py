"""Generation: `grammar` (prefixes held to the known names), `decoding` (samples → grounded reports), `writing` (files)."""
