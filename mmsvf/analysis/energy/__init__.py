"""Operations of a model, told by what its inputs are, and conventions that turn them into energy."""

from .conventions import CONVENTIONS, Convention
from .counter import Layer, OperationCounter

__all__ = ['CONVENTIONS', 'Convention', 'Layer', 'OperationCounter']
