"""A Kubernetes cluster for tests, on loopback: real control plane, real JobSet controller, kwok's nodes."""
