import '../../spoke/src/main.js';
