"""A recorded run handed on: model, card, predictions."""
