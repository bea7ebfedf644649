"""Identity of processes and GPUs: systemd unit, Slurm job, Kubernetes pod and container."""
