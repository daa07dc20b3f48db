"""From data sets to what encoders get: layouts (files and text), the store (one HDF5 file a study), views, dataset."""
