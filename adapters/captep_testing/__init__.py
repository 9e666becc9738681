"""The convergence kit: prove of any pure reconcile function that its loop comes to rest."""
