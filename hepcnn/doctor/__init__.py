"""What a machine can do for a study, what is missing, and how to mend it: one module per subject."""

from hepcnn.doctor.extras import require_extras
from hepcnn.doctor.finding import Finding

__all__ = ["Finding", "require_extras"]
