import '../../../test/support/builders.js';
