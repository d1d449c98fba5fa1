import '../apps/spoke/src/main.js';
