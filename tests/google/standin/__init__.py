"""Stand-ins for the Google Cloud and Kubernetes provider plugins: strict inputs, a simulated cloud."""
