"""The encoder: masters in, published packages out.

Pure decisions (`source`, `cadence`, `ladder_choice`, `recipe`, `ffmpeg`, `packager`, `measure`)
beneath the hands that use them (`probe`, `package`, `pipeline`, `publish`, `worker`).
"""
