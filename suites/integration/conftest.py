"""What the parts of this suite have besides the usual: tenants of their own making, and the model's witness."""

from _fixtures.models import model
from _fixtures.tenants import tenant

__all__ = ["model", "tenant"]
