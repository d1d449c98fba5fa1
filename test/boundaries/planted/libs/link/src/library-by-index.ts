import '../../identity/src/keys.js';
