"""The encoder: masters in, published packages out.

Pure decisions (`source`, `cadence`, `ladder_choice`, `recipe`, `ffmpeg`, `packager`, `rates`)
beneath the hands that use them (`probe`, `measure`, `package`, `pipeline`, `publish`, `worker`).
"""
