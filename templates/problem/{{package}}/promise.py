"""What late means, for the label alone: a constant of the business, in one place."""

PROMISED_DAYS = 3.0
