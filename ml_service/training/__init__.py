"""Training of personal adapters: a subprocess a job, and the only part that imports trl and peft."""
