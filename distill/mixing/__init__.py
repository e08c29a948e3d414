"""From clips to what students hear: mixtures and soundscapes."""
