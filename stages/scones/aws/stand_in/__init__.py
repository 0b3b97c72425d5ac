"""Stand in for AWS on this machine."""

import sys

# moto brings jsonschema, which takes two seconds to load the grammar of a format that nothing here checks, unless it is missing.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
