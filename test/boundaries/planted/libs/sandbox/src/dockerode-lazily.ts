import Docker from 'dockerode';

export const planted = Docker;
