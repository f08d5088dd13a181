"""Dropout draws: one wide pass, or seeded passes of any random network."""
