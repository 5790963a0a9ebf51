"""From pixels to points: camera rays, which pixels a step trains on, and where along a ray the field is asked."""
