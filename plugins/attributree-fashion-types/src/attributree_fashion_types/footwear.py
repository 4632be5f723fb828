"""What is worn on the feet."""

FOOTWEAR = """
footwear: foot wear; shoes and boots; shoes and sandals
shoe < footwear: shoes; casual shoes; canvas shoes; lace-ups; lace-up shoes; kids shoes; leather shoes
formal_shoe < shoe: formal shoes; dress shoes; business shoes; oxfords; derbies; derby shoes; brogues; monk straps
sneaker < shoe: sneakers; trainers; casual sneakers; plimsolls; high tops; skate shoes
sports_shoe < shoe: sports shoes; sport shoes; running shoes; training shoes; walking shoes; football boots; cleats;
    tennis shoes; basketball shoes; hiking shoes; athletic shoes; gym shoes; cricket shoes; golf shoes
loafer < shoe: loafers; moccasins; slip-ons; slip-on shoes; driving shoes; boat shoes; mules
flat < shoe: flats; ballerinas; ballet flats; ballet pumps; flat shoes; espadrilles; juttis
heel < shoe: heels; high heels; pumps; court shoes; stilettos; wedges; wedge shoes; platforms; heeled shoes; kitten
    heels; block heels; platform shoes
boot < footwear: boots; ankle boots; chelsea boots; knee boots; chukkas; desert boots; winter boots; rain boots;
    wellies; wellingtons; hiking boots; combat boots; snow boots; booties; gumboots
sandal < footwear: sandals; gladiators; gladiator sandals; sports sandals; heeled sandals; flat sandals; kolhapuris
flip_flop < footwear: flip flops; flipflops; slides; sliders; pool slides; chappals
clog < footwear: clogs
slipper < footwear: slippers; house shoes; indoor shoes; moccasin slippers
baby_shoe < footwear: baby booties; pram shoes; first shoes; crib shoes
shoe_accessory: shoe accessories; shoe care; laces; shoe laces; insoles; shoe trees; shoe polish; shoe horns
"""
