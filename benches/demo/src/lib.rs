//! The main job from end to end: a fleet, a race of routing policies, faults, and why.
