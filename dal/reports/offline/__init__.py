"""What pages share that open without a network: safe text, the packed Plotly, and a policy that forbids requests."""
