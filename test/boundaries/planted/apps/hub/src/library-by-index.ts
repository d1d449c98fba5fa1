import '../../../libs/identity/src/keys.js';
