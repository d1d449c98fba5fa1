import 'node:crypto';
import 'ws';
