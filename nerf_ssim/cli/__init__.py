"""The `nerf-ssim` command: one file a subcommand, each with `run(argv) -> exit code`; `main` finds and calls them."""
