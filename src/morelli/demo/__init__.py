"""Small generators that come with Morelli, as data: one bundle each. See docs/generators.md."""
