"""The sender's side of the broker: outcomes out, parcels onto the ladder, questions, the control log."""
